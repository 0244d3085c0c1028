"""Signals as a shell leaves them."""
import signal


def restore():
    """Who runs us in the background of a script has these ignored, and what we start would inherit it."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
