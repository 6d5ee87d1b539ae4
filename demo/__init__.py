"""The demo: two small models trained and tested on toy data through the tools, with tables and pictures."""
