"""Golden figures for the forecasting task: calendar features (pandas), errors (scikit-learn), Student-t mixtures (scipy).

Run by hand: python tests/reference/forecasting.py; writes tests/fixtures/files/forecasting.json."""
import json
import pathlib

import numpy as np
import pandas as pd
import scipy
import sklearn
from scipy import integrate, optimize, stats
from sklearn.metrics import mean_absolute_error, mean_absolute_percentage_error, mean_squared_error
from sklearn.preprocessing import StandardScaler


def calendar():
    """Time-Series-Library's time features, from pandas' calendar fields."""
    fields = {
        "second": lambda d: d.second / 59.0 - 0.5,
        "minute": lambda d: d.minute / 59.0 - 0.5,
        "hour": lambda d: d.hour / 23.0 - 0.5,
        "weekday": lambda d: d.dayofweek / 6.0 - 0.5,
        "day": lambda d: (d.day - 1) / 30.0 - 0.5,
        "day_of_year": lambda d: (d.dayofyear - 1) / 365.0 - 0.5,
        "week": lambda d: (d.isocalendar()[1] - 1) / 52.0 - 0.5,
        "month": lambda d: (d.month - 1) / 11.0 - 0.5,
    }
    day = ["weekday", "day", "day_of_year"]
    layouts = {
        "second": ["second", "minute", "hour"] + day, "minute": ["minute", "hour"] + day, "hour": ["hour"] + day, "day": day,
        "business_day": day, "week": ["day", "week"], "month": ["month"], "quarter": ["month"], "year": ["month"],
    }
    texts = ["2016-07-01 00:00:00", "2016-12-31 23:59:59", "2020-02-29 12:34:56", "2021-01-01 06:00:00", "2020-12-31 01:02:03",
             "1999-12-31 00:00:01", "2018-12-31 00:00:00", "1969-07-20 20:17:40", "2026-01-04 00:00:00", "2027-01-03 00:00:00"]
    dates = [pd.Timestamp(t) for t in texts]
    return {"dates": texts, "unix": [int(d.timestamp()) for d in dates],
            "features": {name: [[fields[f](d) for f in layout] for d in dates] for name, layout in layouts.items()}}


def ranges():
    """Regular dates: the step is found again, and the next dates are pandas'."""
    cases = {"1 hour": "h", "15 minutes": "15min", "1 day": "D", "1 business day": "B", "1 week": "W", "1 month": "MS", "1 month (last day)": "ME",
             "1 quarter": "QS", "1 year": "YS", "10 seconds": "10s", "3 hours": "3h"}
    out = {}
    for name, freq in cases.items():
        dates = pd.date_range("2019-11-29" if freq != "MS" else "2019-11-01", periods=50, freq=freq)
        out[name] = [str(d) for d in dates]
    return out


def errors():
    rng = np.random.default_rng(7)
    values = rng.normal(3.0, 2.0, (40, 3)).cumsum(0)
    scaler = StandardScaler().fit(values[:25])
    scaled = scaler.transform(values)
    truth, guess = scaled[30:], scaled[30:] + rng.normal(0, 0.3, (10, 3))
    return {"values": values.tolist(), "mean": scaler.mean_.tolist(), "std": scaler.scale_.tolist(), "truth": truth.tolist(), "guess": guess.tolist(),
            "mse": mean_squared_error(truth, guess), "mae": mean_absolute_error(truth, guess),
            "mape": mean_absolute_percentage_error(truth, guess),
            "original_mse": mean_squared_error(scaler.inverse_transform(truth), scaler.inverse_transform(guess))}


def mixtures():
    cases = []
    for weight, df, loc, scale, y in [
        ([1.0], [5.0], [0.0], [1.0], 0.3),
        ([0.3, 0.7], [3.0, 30.0], [-1.0, 2.0], [0.5, 1.5], 1.0),
        ([0.2, 0.5, 0.3], [2.5, 8.0, 200.0], [4.0, -3.0, 0.1], [0.1, 2.0, 0.7], -6.0),
    ]:
        parts = [stats.t(d, l, s) for d, l, s in zip(df, loc, scale)]
        pdf = lambda x: sum(w * p.pdf(x) for w, p in zip(weight, parts))
        cdf = lambda x: sum(w * p.cdf(x) for w, p in zip(weight, parts))
        left = integrate.quad(lambda x: cdf(x) ** 2, -np.inf, y, limit=500)[0]
        right = integrate.quad(lambda x: (1 - cdf(x)) ** 2, y, np.inf, limit=500)[0]
        cases.append({"weight": weight, "df": df, "loc": loc, "scale": scale, "y": y, "log_density": float(np.log(pdf(y))), "cdf": float(cdf(y)),
                      "crps": left + right,
                      "quantiles": [optimize.brentq(lambda x: cdf(x) - p, -500, 500, xtol=1e-13) for p in (0.1, 0.5, 0.9)]})
    points = [[t, d, float(stats.t(d).cdf(t))] for d in (0.5, 1.0, 2.5, 10.0, 1000.0) for t in (-30.0, -2.0, -0.1, 0.0, 0.7, 5.0)]
    return {"cases": cases, "cdf": points}


if __name__ == "__main__":
    target = pathlib.Path(__file__).parent.parent / "fixtures" / "files" / "forecasting.json"
    document = {"made_with": {"pandas": pd.__version__, "scikit-learn": sklearn.__version__, "scipy": scipy.__version__},
                "calendar": calendar(), "ranges": ranges(), "errors": errors(), "mixtures": mixtures()}
    target.write_text(json.dumps(document, indent=0) + "\n")
    print(target, target.stat().st_size, "bytes")
