"""An app is started anew: what it kept and wrote is deleted, what it reads is not touched."""
