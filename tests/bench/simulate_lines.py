"""How many lines a second `trading simulate --no-risk` takes: `python -m tests.bench.simulate_lines [COUNT]`.

The flow: 1,000 accounts, 50 instruments, prices on 40 levels around the middle, three lines in ten cancels. It
prints the best of three runs, since whatever else runs on the machine only ever makes a run slower.
"""

import gc
import io
import json
import sys
import time
from random import Random
from typing import Any

from infra.simulate import run
from infra.simulated_books import SimulatedBooks

COUNT = 200_000
SEED = 7


def flow(count: int) -> bytes:
    """So many lines."""
    random, said = Random(SEED), []
    open_orders: list[dict[str, Any]] = []
    for number in range(count):
        if random.random() < 0.7 or not open_orders:
            line = _order(random, str(number))
            open_orders.append(line)
        else:
            line = _cancel(open_orders.pop(random.randrange(len(open_orders))), str(number))
        said.append(json.dumps(line))
    return "\n".join(said).encode()


def measure(lines: bytes) -> float:
    """CPU seconds of one run."""
    simulator, source, sink = SimulatedBooks(), io.BytesIO(lines), io.BytesIO()
    started = time.process_time()
    run(simulator, source, sink)
    return time.process_time() - started


def _order(random: Random, name: str) -> dict[str, Any]:
    side = random.choice(("BUY", "SELL"))
    price_cents = 10_000 + random.randint(-20, 20) + (-5 if side == "BUY" else 5)
    return {
        "command": "PlaceOrder",
        "account": f"account-{random.randrange(1_000)}",
        "client_order_id": name,
        "instrument": f"I{random.randrange(50)}",
        "side": side,
        "order_type": "LIMIT",
        "time_in_force": "GTC",
        "price": f"{price_cents / 100}",
        "quantity": f"{random.randint(1, 100)}",
    }


def _cancel(order: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        "command": "CancelOrder",
        "account": order["account"],
        "client_order_id": name,
        "original_client_order_id": order["client_order_id"],
    }


if __name__ == "__main__":
    lines_count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    gc.disable()  # as the command does
    best_s = min(measure(flow(lines_count)) for _ in range(3))
    print(
        f"{lines_count:,} lines: {lines_count / best_s:,.0f} a second, {best_s / lines_count * 1e6:.1f} us each"
    )
