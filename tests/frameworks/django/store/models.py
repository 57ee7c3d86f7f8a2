"""One model of each kind of table: sharded (their ids are given, not counted), reference, and unlisted."""
from django.db import models


class Country(models.Model):
    """A reference table."""

    code = models.CharField(max_length=2, primary_key=True)
    name = models.CharField(max_length=100)


class Customer(models.Model):
    """Sharded by its id."""

    id = models.BigIntegerField(primary_key=True)
    name = models.CharField(max_length=100)
    country = models.ForeignKey(Country, on_delete=models.PROTECT)
    email = models.EmailField(null=True)
    joined = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["name"], name="customer_name")]


class Order(models.Model):
    """Sharded by its customer."""

    id = models.BigIntegerField(primary_key=True)
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE)
    product = models.CharField(max_length=100)
    amount = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    note = models.TextField(default="")

    class Meta:
        constraints = [models.CheckConstraint(check=models.Q(amount__gte=0), name="amount_not_negative")]


class Setting(models.Model):
    """In no list of Weir's: on the home shard."""

    name = models.CharField(max_length=50, unique=True)
    value = models.TextField()
