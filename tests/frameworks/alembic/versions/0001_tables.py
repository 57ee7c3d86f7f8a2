"""The tables: sharded, reference, and one that Weir's list lacks."""
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "0001", None, None, None


def upgrade():
    op.create_table("countries", sa.Column("code", sa.String(2), primary_key=True), sa.Column("name", sa.Text, nullable=False))
    op.create_table(
        "customers",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("country", sa.String(2), sa.ForeignKey("countries.code")),
        sa.Column("joined", sa.DateTime(timezone=True), server_default=sa.func.now()),
    )
    op.create_table(
        "orders",
        sa.Column("customer_id", sa.BigInteger, sa.ForeignKey("customers.id", ondelete="CASCADE"), nullable=False),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("amount", sa.Numeric(12, 2), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "id"),
        sa.CheckConstraint("amount >= 0", name="amount_not_negative"),
    )
    op.create_index("orders_by_item", "orders", ["item"])
    op.create_table("settings", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text, unique=True))


def downgrade():
    op.drop_table("settings")
    op.drop_index("orders_by_item")
    op.drop_table("orders")
    op.drop_table("customers")
    op.drop_table("countries")
