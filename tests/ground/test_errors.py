"""The error tree: what an operator reads and what a retry decides by."""

from gnomon import errors


def test_a_message_carries_its_next_step_and_its_fields() -> None:
    error = errors.ConfigError("Port 70000 is too large.", hint="Take one below 65536.", port=70000)
    assert str(error) == "Port 70000 is too large. Take one below 65536."
    assert (error.code, error.fields, error.exit_status) == ("config", {"port": 70000}, 2)


def test_retry_is_decided_by_class_not_by_words() -> None:
    assert isinstance(errors.UpstreamTransient("x", retry_after_s=3.0), errors.Transient)
    assert errors.UpstreamTransient("x", retry_after_s=3.0).retry_after_s == 3.0
    assert isinstance(errors.UpstreamTerminal("x"), errors.Terminal)
    assert issubclass(errors.UpstreamTerminal, errors.UpstreamError)


def test_exit_statuses_tell_the_classes_apart() -> None:
    assert errors.UpstreamError("x").exit_status == 3
    assert errors.StoreError("x").exit_status == 4
