"""From notebooks to executed ones, judged, as pages to look at."""
