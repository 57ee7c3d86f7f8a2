import org.flywaydb.core.Flyway;

/** Flyway's commands on a database: java Migrate <JDBC URL> <user> <folder of the migrations> <command>... */
public class Migrate {
  public static void main(String[] arguments) {
    Flyway flyway = Flyway.configure().dataSource(arguments[0], arguments[1], "").locations("filesystem:" + arguments[2]).cleanDisabled(false).load();
    for (int i = 3; i < arguments.length; i++) {
      switch (arguments[i]) {
        case "migrate" -> System.out.println("migrated " + flyway.migrate().migrationsExecuted);
        case "validate" -> flyway.validate();
        case "info" -> System.out.println("at " + flyway.info().current().getVersion());
        case "clean" -> flyway.clean();
        default -> throw new IllegalArgumentException(arguments[i]);
      }
    }
  }
}
