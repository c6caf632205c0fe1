"""What tests share: clients that know nothing of rusd's inside, and servers to compare with."""
