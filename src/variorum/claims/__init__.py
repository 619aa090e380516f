"""Floor 8: one file a system: the experiment behind its published claim, at laptop scale. (claim, trial, page: how.)"""
