"""What a run shows: tables, pictures, the page, and the record on disk.

The package receives plain values, as they stand in results.json, and computes no
statistics. Its modules are imported by name, so that a progress bar does not
wait for matplotlib:

    logs      metrics.jsonl, TensorBoard scalars, atomic JSON files
    progress  the bar with loss, images a second and time left
    methods   the table and the picture of a comparison of methods
    verdicts  the honest sentences: what was gained, and what was not
    tables    tables for the terminal, for Markdown and for the page
    pictures  every picture that some results allow, with its caption
    page      one self-contained HTML page

`plots`, `examples` and `theory` draw the pictures; `style` holds their colours
and `formats` the way that numbers are written.
"""
