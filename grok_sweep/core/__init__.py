"""What a run is and how it is computed: no files, no Ray, no Hydra."""
