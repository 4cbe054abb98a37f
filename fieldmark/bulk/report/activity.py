"""Charts of when photos with a known bird were taken, by the clocks of the cameras."""

import calendar
from collections import Counter
from datetime import date, timedelta

from fieldmark.bulk.report.charts import MAX_BARS, MAX_STEP, WIDE, WIDTH, Chart, draw_bars

TICKS, FEWEST_BETWEEN = 6, 3  # dates below the bars of days, and bars from one to the next


def chart_days(days: Counter) -> Chart:
    """Return photos by day from the first to the last; of many days, by several days each."""
    if not days:
        return draw_bars([], [], {}, "day")
    first, last = (date.fromisoformat(end(days)) for end in (min, max))
    span = (last - first).days + 1
    length = -(-span // MAX_BARS)
    counts = [0] * -(-span // length)
    for day, count in days.items():
        counts[(date.fromisoformat(day) - first).days // length] += count
    starts = [first + timedelta(number * length) for number in range(len(counts))]
    names = [str(start) if length == 1 else f"{length} days from {start}" for start in starts]
    width = WIDE if len(counts) * MAX_STEP > WIDTH else WIDTH
    every = max(FEWEST_BETWEEN, -(-len(counts) // TICKS))
    ticks = {number: str(starts[number]) for number in range(every // 2, len(counts), every)}
    return draw_bars(names, counts, ticks, "day" if length == 1 else f"{length} days", width)


def chart_hours(hours: Counter) -> Chart:
    """Return photos by hour of the day."""
    names = [f"{hour:02}:00 to {hour:02}:59" for hour in range(24)]
    ticks = {hour: f"{hour:02}" for hour in range(0, 24, 3)}
    return draw_bars(names, [hours[hour] for hour in range(24)], ticks, "hour")


def chart_months(months: Counter) -> Chart:
    """Return photos by month of the year."""
    numbers = range(1, 13)
    ticks = {number - 1: calendar.month_abbr[number] for number in numbers}
    names = [calendar.month_name[number] for number in numbers]
    return draw_bars(names, [months[number] for number in numbers], ticks, "month")
