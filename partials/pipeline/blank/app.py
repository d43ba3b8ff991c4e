{% from pathjoin('partials', 'records.jinja') import dataclass, zeros %}
{% set item = {'media_item_rid': 'str', 'path': 'str', 'content': 'bytes'} %}
{% set reads = item if reads_media else payload_fields %}
{% macro column(name, type) %}
{% if reads.get(name) == type %}batch["{{ name }}"]
{%- elif type is string and type in zeros %}pa.repeat({{ zeros[type] }}, len(batch))
{%- else %}[[]] * len(batch)
{%- endif %}
{% endmacro %}
"""The rows that come in, the rows that go out, and what happens between them."""

from dataclasses import dataclass

import pyarrow as pa

from pipeline import run

# A model, an index, reference data: load it once, here, with `load` from pipeline, such as
#     MODEL = load(read_model)
# Then process() only reads MODEL.


{{ dataclass(reads, 'InputRecord', 'An item of a media set.' if reads_media else 'A row of an input: its columns and their types.') }}
{{ dataclass(result_fields, 'OutputRecord', 'A row of the outputs.') }}
def process(batch: pa.Table) -> pa.Table:
    """Turn a batch of InputRecord rows into OutputRecord rows, as many as you like."""
    # Your code goes here. A batch is made of columns, and pyarrow.compute works on whole columns;
    # batch.to_pylist() gives the rows as dicts, and pa.Table.from_pylist(rows) makes a batch of them.
    return pa.table(
        {
{% for name, type in result_fields.items() %}
            "{{ name }}": {{ column(name, type) }},
{% endfor %}
        }
    )


if __name__ == "__main__":
    run(process, InputRecord, OutputRecord)
