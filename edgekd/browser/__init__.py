"""An artifact tried in a browser: the page, what it is served from, and the runtime that it needs."""
