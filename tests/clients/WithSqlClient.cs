/* Mono's System.Data.SqlClient, Microsoft's own client code, against the stand-in. See tds_lib.sh. */
using System;
using System.Collections.Generic;
using System.Data;
using System.Data.SqlClient;
using System.Data.SqlTypes;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Threading;

static class WithSqlClient {
	static string Env(string name) { return Environment.GetEnvironmentVariable(name); }
	static void Ok(string name, bool good, object said = null) { Console.WriteLine(good ? "ok " + name : "not ok " + name + "\n# " + said); }

	static SqlConnection Open(string password) {
		var b = new SqlConnectionStringBuilder { DataSource = Env("WIRE_HOST") + "," + Env("WIRE_PORT"), UserID = Env("WIRE_USER"), Password = password,
			InitialCatalog = "master", Encrypt = Env("WIRE_TLS") == "1", TrustServerCertificate = true, Pooling = false, ConnectTimeout = 20 };
		var c = new SqlConnection(b.ConnectionString);
		c.Open();
		return c;
	}

	static string Restore(string to) {
		return string.Format("RESTORE DATABASE [{0}] FROM DISK = N'{1}' WITH MOVE N'Sales' TO N'{2}/{0}.mdf', MOVE N'Sales_log' TO N'{2}/{0}.ldf', " +
			"NORECOVERY, REPLACE, STATS = 10", to, Env("WIRE_FULL"), Env("WIRE_DIR"));
	}

	static object One(SqlConnection c, string sql, SqlTransaction t = null) {
		using (var q = new SqlCommand(sql, c, t)) return q.ExecuteScalar();
	}

	static string Facts(SqlException e) { return string.Join(" ", e.Errors.Cast<SqlError>().Select(x => x.Number + "/" + x.State + "/" + x.Class)); }

	static void Main() {
		string password = File.ReadAllText(Env("WIRE_PASSWORD_FILE")).TrimEnd('\n'), db = Env("WIRE_DB");
		var c = Open(password);
		Ok("logs in", (string)One(c, "SELECT @@SERVERNAME") == "standin" && c.ServerVersion.StartsWith("15.00"), c.ServerVersion);

		using (var q = new SqlCommand("RESTORE HEADERONLY FROM DISK = N'" + Env("WIRE_FULL") + "'", c))
		using (var r = q.ExecuteReader()) {
			r.Read();
			SqlDecimal first = r.GetSqlDecimal(r.GetOrdinal("FirstLSN")), last = r.GetSqlDecimal(r.GetOrdinal("LastLSN"));
			Ok("HEADERONLY with exact LSNs", first.ToString() == Env("WIRE_FIRST_LSN") && last.ToString() == Env("WIRE_LAST_LSN"), first + " " + last);
		}

		var said = new List<Tuple<long, int>>();
		SqlInfoMessageEventHandler heard = (o, e) => { foreach (SqlError x in e.Errors) said.Add(Tuple.Create(Stopwatch.GetTimestamp(), x.Number)); };
		c.InfoMessage += heard;
		c.FireInfoMessageEventOnUserErrors = true; /* without it the messages are kept until the command ends */
		using (var q = new SqlCommand(Restore(db), c) { CommandTimeout = 60 }) q.ExecuteNonQuery();
		var end = Stopwatch.GetTimestamp();
		var progress = said.Where(x => x.Item2 == 3211).ToList();
		Ok("RESTORE with progress, live", progress.Count == 10 && said.Last().Item2 == 3014 && end - progress[0].Item1 > 0.3 * Stopwatch.Frequency,
			progress.Count + " " + said.Count);

		c.FireInfoMessageEventOnUserErrors = false;
		try {
			using (var q = new SqlCommand("RESTORE LOG [" + db + "] FROM DISK = N'" + Env("WIRE_LATE") + "' WITH NORECOVERY", c)) q.ExecuteNonQuery();
			Ok("an error with number, state and class", false, "nothing");
		} catch (SqlException e) { Ok("an error with number, state and class", Facts(e) == "4305/1/16 3013/1/16", Facts(e)); }

		/* Its synchronous Cancel waits for the command's time limit (a fault of Mono's), so it is asked asynchronously. */
		said.Clear();
		var token = new CancellationTokenSource();
		SqlInfoMessageEventHandler stop = (o, e) => { if (e.Errors[0].Number == 3211) token.Cancel(); };
		c.InfoMessage += stop;
		c.FireInfoMessageEventOnUserErrors = true;
		var what = "it came to its end";
		try {
			using (var q = new SqlCommand(Restore(db + "_c"), c) { CommandTimeout = 60 }) q.ExecuteNonQueryAsync(token.Token).Wait(40000);
		} catch (AggregateException e) { what = e.InnerException.GetType().Name; }
		c.InfoMessage -= stop;
		c.FireInfoMessageEventOnUserErrors = false;
		Ok("cancels and goes on", what != "it came to its end" && said.All(x => x.Item2 != 3014) && (int)One(c, "SELECT 42") == 42, what);

		c.ChangeDatabase("Sales");
		using (var t = c.BeginTransaction()) { One(c, "INSERT INTO dbo.ticket VALUES (7501, N'gone')", t); t.Rollback(); }
		using (var t = c.BeginTransaction()) { One(c, "INSERT INTO dbo.ticket VALUES (7502, N'stays')", t); t.Commit(); }
		Ok("a transaction rolled back, another committed", (int)One(c, "SELECT COUNT(*) FROM dbo.ticket WHERE id = 7501") == 0 &&
			(int)One(c, "SELECT COUNT(*) FROM dbo.ticket WHERE id = 7502") == 1);
		One(c, "DELETE FROM dbo.ticket WHERE id = 7502");

		using (var q = new SqlCommand("SELECT @a, @b, @c, @d, @e", c)) {
			var g = new Guid("6f9619ff-8b86-d011-b42d-00c04fc964ff");
			q.Parameters.Add("@a", SqlDbType.NVarChar, 50).Value = "J\u00f6rg \U0001F600";
			q.Parameters.Add("@b", SqlDbType.BigInt).Value = long.MaxValue;
			q.Parameters.Add("@c", SqlDbType.UniqueIdentifier).Value = g;
			q.Parameters.Add(new SqlParameter("@d", SqlDbType.Decimal) { Precision = 9, Scale = 2, Value = 12.5m });
			q.Parameters.Add("@e", SqlDbType.NVarChar, 10).Value = DBNull.Value;
			q.Prepare();
			for (int i = 0; i < 2; i++)
				using (var r = q.ExecuteReader()) {
					r.Read();
					Ok("a prepared statement, time " + (i + 1), r.GetString(0) == "J\u00f6rg \U0001F600" && r.GetInt64(1) == long.MaxValue && r.GetGuid(2) == g &&
						r.GetDecimal(3) == 12.5m && r.IsDBNull(4), r[0] + " " + r[1]);
				}
		}
		using (var q = new SqlCommand("SET @out = @in * 2", c)) {
			q.Parameters.AddWithValue("@in", 21);
			q.Parameters.Add("@out", SqlDbType.Int).Direction = ParameterDirection.Output;
			q.ExecuteNonQuery();
			Ok("an output parameter", q.Parameters["@out"].Value.Equals(42), q.Parameters["@out"].Value);
		}
		c.Close();
		try {
			Open("Wrong1!");
			Ok("a wrong password is 18456", false, "it let us in");
		} catch (SqlException e) { Ok("a wrong password is 18456", Facts(e) == "18456/1/14", Facts(e)); }
		Environment.Exit(0);
	}
}
