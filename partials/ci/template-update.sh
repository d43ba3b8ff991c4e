code=0
copier check-update --quiet || code=$?
# 2 says that there is a newer version, 0 that there is none.
[ "$code" = 2 ] || exit "$code"
copier update --defaults --skip-answered
version=$(sed -n 's/^_commit: //p' .copier-answers.yml)
branch=template-update-$version
# What was proposed once is not proposed again.
if git ls-remote --exit-code --heads origin "$branch"; then exit 0; fi
git switch --create "$branch"
git add --all
git commit --message "Update the template to $version"
conflicts=$(git grep --line-number '^<<<<<<< before updating' || true)
