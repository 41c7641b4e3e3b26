# Dictionaries, strings, objects and big numbers; prints what they come to.
import re


class Account:
    def __init__(self, name):
        self.name, self.balance, self.moves = name, 0, []

    def move(self, amount):
        self.balance += amount
        self.moves.append(amount)


def numbers(count, state=12345):
    for _ in range(count):
        state = (state * 1103515245 + 12345) % 2147483648
        yield state


accounts = {}
for number in numbers(120000):
    name = "a%x" % (number % 4096)
    accounts.setdefault(name, Account(name)).move(number % 1000 - 500)
best = sorted(accounts.values(), key=lambda account: (-account.balance, account.name))[:3]

text = " ".join("%s=%d" % (name, account.balance) for name, account in sorted(accounts.items()))
found = re.findall(r"(a[0-9a-f]+)=(-?\d+)", text)
total = sum(int(amount) for _, amount in found)

digits = str(3**6000)
sieve = bytearray([1]) * 300000
for i in range(2, 548):
    if sieve[i]:
        sieve[i * i :: i] = bytes(len(range(i * i, 300000, i)))
print([account.name for account in best], total, len(text), sum(map(int, digits)), sum(sieve))
