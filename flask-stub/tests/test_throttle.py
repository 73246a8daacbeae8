import unittest

from p2k16.throttle import key, network_of


class ThrottleTest(unittest.TestCase):
    def test_the_other_application_has_the_same_networks(self):
        for address, expected in (
            ("192.0.2.1", "192.0.2.1"),
            ("nonsense", "nonsense"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("fe80::1%eth0", "fe80::/64"),
        ):
            with self.subTest(address):
                self.assertEqual(network_of(address), expected)

    def test_the_other_application_has_the_same_key(self):
        expected = "login-failures:fc4e8bbfc8718ad756cc77c7eb71ba4c29de4a49a92235430546bea3d568fa66"
        self.assertEqual(key("Å", "1.2.3.4"), expected)
        self.assertEqual(key("å", "1.2.3.4"), expected)
