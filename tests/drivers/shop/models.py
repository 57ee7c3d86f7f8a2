from django.db import models


class Customer(models.Model):
    id = models.BigIntegerField(primary_key=True)
    name = models.CharField(max_length=100)
    data = models.JSONField()
    joined = models.DateTimeField()


class Blob(models.Model):
    """A table that is not the app's own."""

    user_id = models.BigIntegerField()
    id = models.BigIntegerField(primary_key=True)
    body = models.TextField()

    class Meta:
        managed = False
        db_table = "blobs"
