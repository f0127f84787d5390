"""HTML pages and LaTeX tables: one stylesheet, one set of macros, one style of plots."""
