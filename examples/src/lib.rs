//! Short programs and pipeline files to copy; the programs are in `examples/`, the pipeline files in `pipelines/`.
