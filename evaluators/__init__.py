"""Turning architectures into measurements: data, supernet, training rules, accuracy, proxies, audits."""
