"""What objects say in words: the calls, the algorithm, what was measured of it, and what a reader must know."""

from chexkeras.dicom.objects.told import DeviceFacts, FilmResult, MeasuredFinding

PRELIMINARY = "Result of software, preliminary, not verified by a physician."


def finding_lines(result: FilmResult) -> list[str]:
    """Returns a line for each finding: score, threshold, call.

    Args:
        result: What is said of the film.
    """
    return [
        f"{each.finding}: score {each.score:.3f}, {each.call} at the threshold {each.threshold:.3g}"
        for each in result.findings
    ]


def tested_line(tested: MeasuredFinding) -> str:
    """Returns what was measured of a finding, as one sentence.

    Args:
        tested: The figures.
    """
    return f"{tested.finding}, {'; '.join(tested.lines())}."


def device_lines(device: DeviceFacts, result: FilmResult) -> list[str]:
    """Returns what made the result.

    Args:
        device: The device.
        result: What it says of the film.
    """
    made = f"{device.name} {device.version}, run {device.fingerprint}"
    return [f"{made}, engine {result.engine}." if result.engine else f"{made}."]


def caution_lines(device: DeviceFacts, result: FilmResult) -> list[str]:
    """Returns warnings of the film and cautions of the device, a sentence each.

    Args:
        device: The device.
        result: What it says of the film.
    """
    return [*(f"Warning: {each}." for each in result.warnings), *(f"Caution: {each}" for each in device.cautions)]
