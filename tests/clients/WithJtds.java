/* jTDS, a TDS 7.1 client in Java with code of its own, against the stand-in. See tds_lib.sh. */
import java.math.BigDecimal;
import java.nio.file.*;
import java.sql.*;
import java.util.*;

public class WithJtds {
	static void ok(String name, boolean good, Object said) {
		System.out.println(good ? "ok " + name : "not ok " + name + "\n# " + said);
	}

	static Connection open(String password) throws Exception {
		Class.forName("net.sourceforge.jtds.jdbc.Driver");
		/* It has no setting for a CA and checks nothing: TLS here is the conversation, not the trust. */
		String ssl = "1".equals(System.getenv("WIRE_TLS")) ? "require" : "off";
		return DriverManager.getConnection("jdbc:jtds:sqlserver://" + System.getenv("WIRE_HOST") + ":" + System.getenv("WIRE_PORT") +
			"/master;tds=8.0;loginTimeout=20;ssl=" + ssl, System.getenv("WIRE_USER"), password);
	}

	/* Every message of a statement: the chain of warnings grows while results are drained. */
	static List<SQLException> run(Statement s, String sql) {
		List<SQLException> said = new ArrayList<>();
		try {
			s.clearWarnings();
			s.execute(sql);
			while (s.getMoreResults() || s.getUpdateCount() != -1) { }
		} catch (SQLException e) {
			for (; e != null; e = e.getNextException()) said.add(e);
		}
		try {
			for (SQLException w = s.getWarnings(); w != null; w = w.getNextException()) said.add(w);
		} catch (SQLException e) {
			said.add(e);
		}
		return said;
	}

	static String restore(String to) {
		String dir = System.getenv("WIRE_DIR");
		return "RESTORE DATABASE [" + to + "] FROM DISK = N'" + System.getenv("WIRE_FULL") + "' WITH MOVE N'Sales' TO N'" + dir + "/" + to +
			".mdf', MOVE N'Sales_log' TO N'" + dir + "/" + to + ".ldf', NORECOVERY, REPLACE, STATS = 10";
	}

	static long one(Statement s, String sql) throws SQLException {
		try (ResultSet r = s.executeQuery(sql)) { r.next(); return r.getLong(1); }
	}

	public static void main(String[] args) throws Exception {
		String db = System.getenv("WIRE_DB"), password = Files.readString(Path.of(System.getenv("WIRE_PASSWORD_FILE"))).trim();
		Connection c = open(password);
		Statement s = c.createStatement();
		try (ResultSet r = s.executeQuery("SELECT @@SERVERNAME")) { r.next(); ok("logs in", r.getString(1).equals("standin"), r.getString(1)); }

		try (ResultSet r = s.executeQuery("RESTORE HEADERONLY FROM DISK = N'" + System.getenv("WIRE_FULL") + "'")) {
			r.next();
			BigDecimal first = r.getBigDecimal("FirstLSN"), last = r.getBigDecimal("LastLSN");
			ok("HEADERONLY with exact LSNs", first.toPlainString().equals(System.getenv("WIRE_FIRST_LSN")) &&
				last.toPlainString().equals(System.getenv("WIRE_LAST_LSN")), first + " " + last);
		}

		/* Another thread watches the statement's warnings grow while it runs. */
		final long[] when = new long[2];
		final Statement t = c.createStatement();
		Thread watch = new Thread(() -> {
			try {
				while (when[1] == 0) {
					if (when[0] == 0 && t.getWarnings() != null) when[0] = System.nanoTime();
					Thread.sleep(5);
				}
			} catch (Exception e) { }
		});
		watch.setDaemon(true);
		watch.start();
		List<SQLException> said = run(t, restore(db));
		when[1] = System.nanoTime();
		watch.join();
		ok("RESTORE with progress, live", said.stream().filter(e -> e.getErrorCode() == 3211).count() == 10 && when[0] != 0 &&
			when[1] - when[0] > 300_000_000L && said.get(said.size() - 1).getErrorCode() == 3014, said.size() + " messages " + (when[1] - when[0]));

		said = run(s, "RESTORE LOG [" + db + "] FROM DISK = N'" + System.getenv("WIRE_LATE") + "' WITH NORECOVERY");
		/* JDBC gives number and SQL state; class and state are not part of it. */
		ok("an error with number, state and class (the numbers: JDBC tells no more)", said.size() == 2 && said.get(0).getErrorCode() == 4305 &&
			said.get(1).getErrorCode() == 3013, said);

		final Statement slow = c.createStatement();
		Thread cancel = new Thread(() -> {
			try { for (int i = 0; i < 6000 && slow.getWarnings() == null; i++) Thread.sleep(5); slow.cancel(); } catch (Exception e) { }
		});
		cancel.setDaemon(true);
		cancel.start();
		said = run(slow, restore(db + "_c"));
		cancel.join();
		ok("cancels and goes on", said.stream().noneMatch(e -> e.getErrorCode() == 3014) && one(s, "SELECT 42") == 42, said);

		c.setCatalog("Sales");
		c.setAutoCommit(false);
		s.executeUpdate("INSERT INTO dbo.ticket VALUES (7401, N'gone')");
		c.rollback();
		s.executeUpdate("INSERT INTO dbo.ticket VALUES (7402, N'stays')");
		c.commit();
		ok("a transaction rolled back, another committed", one(s, "SELECT COUNT(*) FROM dbo.ticket WHERE id = 7401") == 0 &&
			one(s, "SELECT COUNT(*) FROM dbo.ticket WHERE id = 7402") == 1, "");
		s.executeUpdate("DELETE FROM dbo.ticket WHERE id = 7402");
		c.commit();
		c.setAutoCommit(true);

		try (PreparedStatement p = c.prepareStatement("SELECT ?, ?, ?")) {
			for (int i = 0; i < 2; i++) {
				p.setString(1, "J\u00f6rg \uD83D\uDE00");
				p.setLong(2, Long.MAX_VALUE - i);
				p.setNull(3, Types.VARCHAR);
				try (ResultSet r = p.executeQuery()) {
					r.next();
					ok("a prepared statement, time " + (i + 1), r.getString(1).equals("J\u00f6rg \uD83D\uDE00") && r.getLong(2) == Long.MAX_VALUE - i &&
						r.getString(3) == null, r.getString(1) + " " + r.getString(2));
				}
			}
		}
		c.close();
		try {
			open("Wrong1!");
			ok("a wrong password is 18456", false, "it let us in");
		} catch (SQLException e) {
			ok("a wrong password is 18456", e.getErrorCode() == 18456, e);
		}
		System.exit(0);
	}
}
