"""What can be checked of the deployment without Docker and Kubernetes."""
