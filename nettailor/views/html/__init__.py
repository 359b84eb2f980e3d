"""One self-contained page about runs over one backbone: what was kept, what it costs, where it errs.

deltas, reports, fronts ... -> data.PageData -> page.render -> one HTML file that loads nothing
"""
