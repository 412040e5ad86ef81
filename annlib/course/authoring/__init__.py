"""From the source of a lesson to its notebooks, and the rules that a source keeps."""
