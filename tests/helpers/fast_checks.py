"""Shapes and types are checked as jaxtyping does, in less time.

It checks all parameters again together with what is returned, which says nothing new, as the sizes of the axes are
remembered; and it matches arguments to parameters by `inspect`, where a function of the same signature is faster.
"""

import inspect

from jaxtyping import _decorator

_make_fn = _decorator._make_fn_with_signature
_binders = {}  # by the identity of a signature, which is kept beside its function


class _Bound:
    def __init__(self, arguments):
        self.arguments = arguments

    def apply_defaults(self):
        """They have been applied."""


class _FastSignature(inspect.Signature):
    """A signature that binds by calling a function which has it."""

    __slots__ = ()

    def bind(self, /, *args, **kwargs):
        return _Bound(_binders[id(self)][0](*args, **kwargs))


class _Default:
    """A default value in the source of a function."""

    def __init__(self, name):
        self._name = name

    def __repr__(self):
        return self._name


def _binder_of(name, signature):
    defaults, parameters = {}, []
    for each in signature.parameters.values():
        bare = each.replace(annotation=each.empty)
        if each.default is not each.empty:
            defaults[f"default_of_{each.name}"] = each.default
            bare = bare.replace(default=_Default(f"default_of_{each.name}"))
        parameters.append(bare)
    head = str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    made = {}
    exec(f"def {name if name.isidentifier() else 'call'}{head}: return locals()", defaults, made)
    return made.popitem()[1]


def _make_what_checks(name, qualname, module, signature, output):
    if output:
        bare = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
        return _make_fn(name, qualname, module, signature.replace(parameters=bare), output)
    _binders[id(signature)] = _binder_of(name, signature), signature
    signature.__class__ = _FastSignature
    return _make_fn(name, qualname, module, signature, output)


_decorator._make_fn_with_signature = _make_what_checks
