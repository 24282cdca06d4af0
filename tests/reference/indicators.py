"""Figures of TA-Lib for data/indicators.h, on a price series that C++ computes alike.

python tests/reference/indicators.py        (pip install TA-Lib)
"""
import json
from pathlib import Path

import numpy as np
import talib

from fill import uniform

steps = 2.0 * uniform("input:price", 200, 0) - 1.0
price = 100.0 + np.cumsum(steps)
macd, signal, histogram = talib.MACD(price)
fast_macd = talib.MACD(price, 3, 7, 4)
upper, middle, lower = talib.BBANDS(price, 20, 2.0, 2.0)
figures = {"rsi_14": talib.RSI(price, 14), "rsi_5": talib.RSI(price, 5), "macd": macd, "macd_signal": signal, "macd_histogram": histogram,
           "sma_20": talib.SMA(price, 20), "ema_20": talib.EMA(price, 20), "ema_7": talib.EMA(price, 7),
           "bollinger_upper_20": upper, "bollinger_middle_20": middle, "bollinger_lower_20": lower,
           "macd(3,7,4)": fast_macd[0], "macd_signal(3,7,4)": fast_macd[1], "macd_histogram(3,7,4)": fast_macd[2]}
file = Path(__file__).resolve().parent.parent / "fixtures" / "files" / "indicators.json"
rows = {name: [None if np.isnan(v) else float(v) for v in values] for name, values in {"price": price, **figures}.items()}
file.write_text(json.dumps({"reference": f"TA-Lib {talib.__version__}", "columns": rows}, separators=(",", ":")) + "\n")
print(f"{file.name}: {len(rows)} columns of {len(price)}, {file.stat().st_size / 1024:.0f} KiB")
