"""The project's own tests: Django's runner makes the tables, wraps each test in a transaction, and empties tables between some."""
from decimal import Decimal

from django.db import IntegrityError, transaction
from django.db.models import Count, Sum
from django.test import TestCase, TransactionTestCase

from store.models import Country, Customer, Order, Setting

IDS = range(100, 120)   # over every shard


def fill():
    Country.objects.get_or_create(code="DE", defaults={"name": "Germany"})
    Customer.objects.bulk_create([Customer(id=n, name=f"c{n}", country_id="DE") for n in IDS])
    Order.objects.bulk_create([Order(id=n * 10 + i, customer_id=n, product="lamp", amount=Decimal("1.50") * i) for n in IDS for i in range(3)])


class InATransaction(TestCase):
    """Each test runs in a transaction over shards that is rolled back, with savepoints inside."""

    @classmethod
    def setUpTestData(cls):
        fill()

    def test_rows_of_every_shard_are_there(self):
        self.assertEqual(Customer.objects.filter(id__gte=100).count(), len(IDS))
        self.assertEqual(Order.objects.aggregate(Sum("amount"))["amount__sum"], Decimal("4.50") * len(IDS))

    def test_a_page_in_order(self):
        self.assertEqual([c.id for c in Customer.objects.filter(id__gte=100).order_by("-id")[2:5]], [117, 116, 115])

    def test_a_join_of_what_lies_together(self):
        found = Customer.objects.filter(id__gte=100).annotate(n=Count("order")).order_by("id")
        self.assertEqual({c.n for c in found}, {3})

    def test_one_customer(self):
        customer = Customer.objects.select_related("country").get(id=105)
        self.assertEqual((customer.name, customer.country.name), ("c105", "Germany"))
        customer.name = "other"
        customer.save()
        self.assertEqual(Customer.objects.get(id=105).name, "other")

    def test_all_are_changed(self):
        self.assertEqual(Order.objects.update(note="seen"), 3 * len(IDS))
        self.assertEqual(Order.objects.filter(note="seen").count(), 3 * len(IDS))

    def test_a_savepoint_undoes_two_shards(self):
        with self.assertRaises(IntegrityError), transaction.atomic():
            Customer.objects.create(id=200, name="a", country_id="DE")
            Customer.objects.create(id=201, name="b", country_id="DE")
            Customer.objects.create(id=100, name="twice", country_id="DE")
        self.assertEqual(Customer.objects.filter(id__gte=200).count(), 0)

    def test_delete_takes_what_belongs_to_it(self):
        Customer.objects.filter(id__gte=100, id__lt=110).delete()
        self.assertEqual(Order.objects.count(), 30)

    def test_a_table_of_the_home_shard(self):
        Setting.objects.create(name="a", value="b")
        self.assertEqual(Setting.objects.get(name="a").value, "b")


class Committed(TransactionTestCase):
    """The runner empties every table after each test: one TRUNCATE of sharded, reference and unlisted ones."""

    def test_a_transaction_over_shards_commits(self):
        with transaction.atomic():
            fill()
        self.assertEqual(Order.objects.count(), 3 * len(IDS))

    def test_a_transaction_over_shards_rolls_back(self):
        with self.assertRaises(KeyError), transaction.atomic():
            fill()
            raise KeyError
        self.assertEqual((Country.objects.count(), Customer.objects.count(), Order.objects.count()), (0, 0, 0))
