"""What people look at: tables, diagrams, plots. Nothing here measures or trains."""
