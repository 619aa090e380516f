"""Floor 7: budgets, studies, fair measurement, Pareto, report."""
