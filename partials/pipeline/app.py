{% from pathjoin('partials', 'records.jinja') import dataclass, zeros %}
{% macro column(name, type) %}
{% if payload_fields.get(name) == type %}batch["{{ name }}"]
{%- else %}pa.repeat({{ zeros[type] }}, len(batch))
{%- endif %}
{% endmacro %}
"""The rows that come in, the rows that go out, and what happens between them."""

from dataclasses import dataclass

import pyarrow as pa

from pipeline import run

# A model, an index, reference data: load it once, here, with `load` from pipeline, such as
#     MODEL = load(read_model)
# Then process() only reads MODEL.


{{ dataclass(payload_fields, 'InputRecord', 'A row of an input: its columns and their types.') }}
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
