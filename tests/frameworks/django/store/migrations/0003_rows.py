"""A migration of data: a reference table, and sharded rows of every shard."""
from django.db import migrations


def countries(apps, schema_editor):
    country = apps.get_model("store", "Country")
    country.objects.bulk_create([country(code="DE", name="Germany"), country(code="KE", name="Kenya")])
    country.objects.filter(code="KE").update(name="Republic of Kenya")
    customers = apps.get_model("store", "Customer")
    customers.objects.bulk_create([customers(id=n, name=f"first {n}", country_id="DE") for n in range(1, 9)])
    customers.objects.filter(name="first 1").update(name="the first")
    customers.objects.filter(id__gt=4).delete()


def no_countries(apps, schema_editor):
    apps.get_model("store", "Customer").objects.all().delete()
    apps.get_model("store", "Country").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("store", "0002_more")]
    operations = [
        migrations.RunPython(countries, no_countries),
        migrations.RunSQL("INSERT INTO store_setting (name, value) VALUES ('theme', 'river')", "DELETE FROM store_setting WHERE name = 'theme'"),
    ]
