"""What every endpoint shares: connections, access, errors, formats."""
