"""Names of users and of files, checked before SpikeInterface makes paths of them."""

from typing import Any

SEPARATORS = "/\\:"
# Windows takes these for devices, whatever follows a dot; SpikeInterface reads no property of the last name.
RESERVED = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$", "contact_vector"]
    + [f"{device}{number}" for device in ("com", "lpt") for number in "123456789¹²³"]
)
MAX_BYTES = 255 - len(".npy")


def check_property_name(name: Any, *, argument: str) -> str:
    """Return a name under which a property can be saved, inside its folder and on any file system.

    SpikeInterface saves a property in a file that is called as the property is: one called ``../x`` would be written
    beside the folder, one called ``/x`` anywhere.

    Parameters
    ----------
    name : str
    argument : str
        Where the name comes from, for the message.

    Raises
    ------
    ValueError
        If it cannot be the name of a file.
    """
    problem = _problem_of(name)
    if problem:
        raise ValueError(
            f"{argument} = {name!r}: it would be the name of a property, which is saved in a file of that name, but "
            f"{problem}; choose a name of letters, digits, spaces and signs such as _ - ."
        )
    return name


def _problem_of(name: Any) -> str:
    """Return what keeps a name from being that of a file; empty if nothing does."""
    if not isinstance(name, str):
        return f"it is a {type(name).__name__}, not a string"
    found = [sign for sign in name if sign in SEPARATORS or not sign.isprintable()]
    stem = name.partition(".")[0].strip().casefold()
    if found:
        return f"it contains {found[0]!r}"
    if not name.strip(" ."):
        return "it is empty or made of dots and spaces"
    if name.strip() != name or name.endswith("."):
        return "it begins or ends with a space, or ends with a dot"
    if stem in RESERVED:
        return f"{stem!r} is reserved"
    if len(name.encode()) > MAX_BYTES:
        return f"it is longer than {MAX_BYTES} bytes"
    return ""
