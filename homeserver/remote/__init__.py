"""How this server reaches others. Built by `homeserver.boot`; services and roles know the ports only."""
