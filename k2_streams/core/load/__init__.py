"""What happens under load: levels, tiers, the backlog, breakers, rates, admission."""
