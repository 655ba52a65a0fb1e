"""Settings of the test suite: SQLite unless CLIP_SEARCH_TEST_DATABASE_URL names another database."""
