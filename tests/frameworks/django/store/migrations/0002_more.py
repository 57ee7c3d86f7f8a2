"""What a project's later migrations do to tables that are there: columns, indexes, constraints."""
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("store", "0001_initial")]
    operations = [
        migrations.AddField("customer", "email", models.EmailField(max_length=254, null=True)),
        migrations.AddField("order", "note", models.TextField(default="")),
        migrations.AlterField("customer", "name", models.CharField(max_length=100)),
        migrations.RenameField("order", "item", "product"),
        migrations.AddIndex("customer", models.Index(fields=["name"], name="customer_name")),
        migrations.AddConstraint("order", models.CheckConstraint(check=models.Q(("amount__gte", 0)), name="amount_not_negative")),
    ]
