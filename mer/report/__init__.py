"""`mer report`: a run as one self-contained HTML page, and as figures and a table for a paper."""
