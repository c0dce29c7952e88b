"""Objects that are equal if their constructors' arguments are, and are saved by these."""

import inspect
from typing import Any


class Value:
    """An object that keeps each argument of its constructor as an attribute of that name."""

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, by which the object is saved.

        Raises:
          NotImplementedError: An argument is not an attribute of the same name.
        """
        config = {}
        for name, parameter in _constructor_arguments(type(self)).items():
            is_many = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            if is_many or not hasattr(self, name):
                raise NotImplementedError(
                    f"{type(self).__name__} cannot be saved, since its argument `{name}` is not "
                    f"an attribute of that name. Write `self.{name} = {name}` in its constructor, "
                    "or a method get_config"
                )
            config[name] = getattr(self, name)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Value":
        """Makes an object from what `get_config` has returned."""
        return cls(**{name: _deserialised(value) for name, value in config.items()})

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        config = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({config})"


def _constructor_arguments(cls: type) -> dict[str, inspect.Parameter]:
    constructor = inspect.getattr_static(cls, "__init__")
    if constructor is object.__init__:
        return {}
    arguments = dict(inspect.signature(constructor).parameters)
    arguments.pop(next(iter(arguments)))  # self
    return arguments


def _deserialised(value: Any) -> Any:
    """Returns a nested transformation, which a saved config has as a dictionary."""
    if not (isinstance(value, dict) and "class_name" in value):
        return value
    from tf_stn._keras import keras

    return keras.saving.deserialize_keras_object(value)
