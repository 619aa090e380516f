"""The scikit-learn door: a system as an estimator. Nothing here is registered, and no model or encoder of its own."""
