"""Small series that statsmodels and plotly ship."""

import io
from importlib.resources import files
from typing import Any, ClassVar

from variorum.core import VariorumError
from variorum.data.sets.bundled import Bundled


def _frame(package: str, path: str) -> Any:
    """A CSV file inside an installed package, which is not imported."""
    import pandas as pd

    try:
        raw = (files(package) / path).read_bytes()
    except ModuleNotFoundError:
        raise VariorumError(f"data set of {package}", expected=f"the package {package}", found="none installed",
                            do=f"pip install {package}.") from None  # fmt: skip
    return pd.read_csv(io.BytesIO(raw), compression="gzip" if path.endswith(".gz") else None)


class Co2Set(Bundled):
    """Carbon dioxide in the air."""

    name, reads = "co2", "series"
    says = "Carbon dioxide in the air at Mauna Loa, weekly, 1958 to 2001, shipped with statsmodels (public domain)."
    asks: ClassVar[dict[str, Any]] = {"time": "date", "target": "co2", "horizon": 26}

    def read(self) -> Any:
        return _frame("statsmodels", "datasets/co2/co2.csv")


class SunspotsSet(Bundled):
    """Sunspots."""

    name, reads = "sunspots", "series"
    says = "Sunspots of each year, 1700 to 2008, shipped with statsmodels (public domain)."
    asks: ClassVar[dict[str, Any]] = {"time": "YEAR", "target": "SUNACTIVITY", "horizon": 10}

    def read(self) -> Any:
        return _frame("statsmodels", "datasets/sunspots/sunspots.csv")


class ElNinoSet(Bundled):
    """Temperature of the sea."""

    name, reads = "elnino", "series"
    says = "Temperature of the sea off Peru, monthly, 1950 to 2010, shipped with statsmodels (public domain)."
    asks: ClassVar[dict[str, Any]] = {"time": "month", "target": "temperature", "horizon": 12}

    def read(self) -> Any:
        import pandas as pd

        wide = _frame("statsmodels", "datasets/elnino/elnino.csv")
        months = pd.date_range(f"{wide['YEAR'].iloc[0]}-01-01", periods=12 * len(wide), freq="MS")
        return pd.DataFrame({"month": months, "temperature": wide.iloc[:, 1:].to_numpy().ravel()})


class StocksSet(Bundled):
    """Prices of shares."""

    name, reads = "stocks", "series"
    says = "Weekly prices of six shares, each in units of its first, 2018 and 2019, shipped with plotly."
    asks: ClassVar[dict[str, Any]] = {"time": "date", "group": "company", "target": "price", "horizon": 4}

    def read(self) -> Any:
        wide = _frame("plotly", "package_data/datasets/stocks.csv.gz")
        return wide.melt(id_vars="date", var_name="company", value_name="price")
