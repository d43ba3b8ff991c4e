{% from pathjoin('partials', 'records.jinja') import construct, dataclass, pascal %}
{% set name = pascal(function_name) %}
{% set result = 'list[' ~ name ~ 'Result]' if returns_list else name ~ 'Result' %}
{% set signature = 'def ' ~ function_name ~ '(context: QueryContext, event: ' ~ name ~ 'Payload) -> ' ~ result ~ ':' %}
"""The function {{ function_name }} and the records that go in and come back."""

from dataclasses import dataclass

from compute_modules.context import QueryContext

from startup import function, start

# A model, an index, reference data: load it once, here, with `load` from startup, such as
#     MODEL = load(read_model)
# Then the handler only reads MODEL.


{{ dataclass(payload_fields, name ~ 'Payload', 'What goes in.') }}
{{ dataclass(result_fields, name ~ 'Result', 'What comes back.') }}
@function
{% if signature | length <= 100 %}
{{ signature }}
{% else %}
def {{ function_name }}(
    context: QueryContext, event: {{ name }}Payload
) -> {{ result }}:
{% endif %}
    """Write here what one call does."""
    # Your code goes here: read the fields of `event`, fill the fields of the result.
{% if returns_list %}
    return [
        {{ construct(result_fields, name ~ 'Result', payload_fields, 2) }}
    ]
{% else %}
    return {{ construct(result_fields, name ~ 'Result', payload_fields, 1) }}
{% endif %}


if __name__ == "__main__":
    start()
