"""Columns, indexes (one of them made CONCURRENTLY), and rows of every shard."""
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "0002", "0001", None, None


def upgrade():
    op.add_column("customers", sa.Column("email", sa.Text))
    op.alter_column("customers", "name", type_=sa.String(100), existing_type=sa.String(50))
    op.alter_column("orders", "item", new_column_name="product")
    op.alter_column("orders", "amount", server_default="0")
    op.create_unique_constraint("customers_email_per_id", "customers", ["id", "email"])
    countries = sa.table("countries", sa.column("code"), sa.column("name"))
    op.bulk_insert(countries, [{"code": "DE", "name": "Germany"}, {"code": "KE", "name": "Kenya"}])
    customers = sa.table("customers", sa.column("id"), sa.column("name"), sa.column("country"))
    op.bulk_insert(customers, [{"id": n, "name": f"c{n}", "country": "DE"} for n in range(1, 21)])
    op.execute("UPDATE customers SET email = name || '@example.com'")
    op.execute("INSERT INTO orders (customer_id, id, product, amount) SELECT id, 1, 'lamp', 10 FROM customers")
    op.alter_column("customers", "email", nullable=False)
    op.execute("COMMENT ON TABLE customers IS 'who buys'")
    with op.get_context().autocommit_block():
        op.create_index("customers_by_name", "customers", ["name"], postgresql_concurrently=True)


def downgrade():
    with op.get_context().autocommit_block():
        op.drop_index("customers_by_name", postgresql_concurrently=True)
    op.execute("DELETE FROM orders")
    op.execute("DELETE FROM customers")
    op.execute("TRUNCATE countries CASCADE")
    op.drop_constraint("customers_email_per_id", "customers")
    op.alter_column("orders", "amount", server_default=None)
    op.alter_column("orders", "product", new_column_name="item")
    op.drop_column("customers", "email")
