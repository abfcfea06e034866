"""What ships for testing: providers on loopback with books of their own, and the faults they can be told to have.

The rule of this package: it is a product for the people who test their platforms, and it never reaches beyond loopback.
"""
