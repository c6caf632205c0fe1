"""The watch room over a real store, with the clock and the clients' appetite in the test's hand."""
