"""Files for other libraries, proved by running those libraries."""
