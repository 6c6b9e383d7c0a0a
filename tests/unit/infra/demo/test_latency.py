from infra.demo.latency import Percentiles, Sample, over_all, over_time


def test_percentiles_are_samples_of_the_nearest_rank() -> None:
    """Of 1 to 1,000 ms the median is 500, and the 99th percentile 990."""
    samples = [Sample(0, number * 1_000_000) for number in range(1000, 0, -1)]
    assert over_all(samples) == Percentiles(0.0, 1000, 500.0, 990.0, 999.0)
    assert over_all([]) == Percentiles(0.0, 0, 0.0, 0.0, 0.0)


def test_intervals_start_at_the_first_sample_and_empty_ones_are_left_out() -> None:
    """Time is counted from the first sample that was sent."""
    second = 1_000_000_000
    samples = [Sample(5 * second, 1), Sample(5 * second + 1, 1), Sample(7 * second, 1)]
    assert [(each.at_s, each.count) for each in over_time(samples)] == [(0.0, 2), (2.0, 1)]
